"""Region features of frozen images: encoded once, stored, scored, evaluated."""
