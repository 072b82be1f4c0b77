"""Decision tables: what the default programme decides, case by case, in files a growth manager could edit."""
