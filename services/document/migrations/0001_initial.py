from django.db import migrations, models


class Migration(migrations.Migration):

    initial = True

    dependencies = [
    ]

    operations = [
        migrations.CreateModel(
            name='Document',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('url', models.CharField(max_length=2000)),
                ('title', models.CharField(max_length=300)),
                ('text', models.TextField()),
                ('fingerprint', models.CharField(max_length=64, unique=True)),
                ('user_id', models.PositiveBigIntegerField(null=True)),
                ('stored_at', models.DateTimeField()),
                ('announced_at', models.DateTimeField(null=True)),
                ('last_viewed_at', models.DateTimeField(null=True)),
            ],
            options={
                'ordering': ['-id'],
            },
        ),
    ]
