"""The portal: users, tokens, items, folders, search and data stores."""
