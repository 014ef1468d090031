"""The platform's database: engine, base types, platform tables, migrations."""
