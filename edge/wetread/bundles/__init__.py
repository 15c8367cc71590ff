"""What a bundle is, without torch: read it, check it, know its digest, choose series by its input rules."""

from wetread.bundles.bundle import Bundle, find_bundle, list_bundles, load_bundle

__all__ = ["Bundle", "find_bundle", "list_bundles", "load_bundle"]
