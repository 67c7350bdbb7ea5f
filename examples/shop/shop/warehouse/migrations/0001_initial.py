from django.db import migrations, models


class Migration(migrations.Migration):

    initial = True

    dependencies = [
    ]

    operations = [
        migrations.CreateModel(
            name='Reservation',
            fields=[
                ('order', models.CharField(max_length=40, primary_key=True, serialize=False)),
                ('sku', models.CharField(max_length=40)),
                ('quantity', models.PositiveIntegerField()),
                ('state', models.CharField(choices=[('reserved', 'Reserved'), ('sent', 'Sent'), ('released', 'Released'), ('refused', 'Refused')], max_length=20)),
            ],
        ),
        migrations.CreateModel(
            name='Stock',
            fields=[
                ('sku', models.CharField(max_length=40, primary_key=True, serialize=False)),
                ('available', models.PositiveIntegerField()),
                ('received', models.PositiveIntegerField()),
                ('low_mark', models.PositiveIntegerField(default=0)),
            ],
        ),
    ]
