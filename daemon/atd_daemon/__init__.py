"""The local daemon of atd: index, store, publishing, and an optional PDS of one's own."""
