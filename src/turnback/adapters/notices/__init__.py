"""Ways to tell people: Alertmanager, a webhook, a command. Each a Notifier of turnback.ports."""
