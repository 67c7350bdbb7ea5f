from django.db import migrations, models


class Migration(migrations.Migration):

    initial = True

    dependencies = [
    ]

    operations = [
        migrations.CreateModel(
            name='Payment',
            fields=[
                ('order', models.CharField(max_length=40, primary_key=True, serialize=False)),
                ('cents', models.PositiveIntegerField()),
                ('card', models.CharField(max_length=100)),
                ('state', models.CharField(choices=[('due', 'Due'), ('captured', 'Captured'), ('refused', 'Refused'), ('refunded', 'Refunded'), ('called off', 'Called Off')], max_length=20)),
            ],
        ),
    ]
