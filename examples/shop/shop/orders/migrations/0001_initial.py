from django.db import migrations, models


class Migration(migrations.Migration):

    initial = True

    dependencies = [
    ]

    operations = [
        migrations.CreateModel(
            name='Order',
            fields=[
                ('number', models.CharField(max_length=40, primary_key=True, serialize=False)),
                ('email', models.CharField(max_length=200)),
                ('sku', models.CharField(max_length=40)),
                ('quantity', models.PositiveIntegerField()),
                ('cents', models.PositiveIntegerField()),
                ('state', models.CharField(choices=[('placed', 'Placed'), ('reserved', 'Reserved'), ('confirmed', 'Confirmed'), ('cancelled', 'Cancelled')], default='placed', max_length=20)),
                ('reason', models.CharField(blank=True, max_length=200)),
            ],
        ),
    ]
