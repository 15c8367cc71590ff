"""Networks and chains of them that are ours: LinkNet, the cascade, detection without torchvision."""
