"""The commands: nspawn, nspawn-mini, getroot."""
