"""What people and scripts see over HTTP: console, JSON, metrics. It only shows; nothing here can change anything."""
