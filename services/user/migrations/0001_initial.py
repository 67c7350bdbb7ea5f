from django.db import migrations, models


class Migration(migrations.Migration):

    initial = True

    dependencies = [
    ]

    operations = [
        migrations.CreateModel(
            name='Activity',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('message_id', models.CharField(max_length=200, unique=True)),
                ('type', models.CharField(max_length=200)),
                ('user_id', models.PositiveBigIntegerField(db_index=True, null=True)),
                ('data', models.JSONField(null=True)),
                ('at', models.DateTimeField(db_index=True)),
            ],
            options={
                'verbose_name_plural': 'activities',
                'ordering': ['-at', '-id'],
            },
        ),
        migrations.CreateModel(
            name='User',
            fields=[
                ('id', models.PositiveBigIntegerField(primary_key=True, serialize=False)),
                ('name', models.CharField(max_length=200)),
                ('email', models.EmailField(max_length=254)),
                ('country', models.CharField(max_length=2)),
            ],
        ),
    ]
