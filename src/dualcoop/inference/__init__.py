"""Images in any form, read batch by batch, and predictions for them."""
