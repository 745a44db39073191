"""What the server does while nobody waits: encoding, training by itself, watching folders and PACS."""
