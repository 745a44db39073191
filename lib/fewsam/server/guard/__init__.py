"""Who may ask what: roles, origins, sizes, numbers of requests, and what logs may say."""
