"""From the token store to the batches of a step: packing, augmentation, order."""
