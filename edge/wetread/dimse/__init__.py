"""DICOM on the wire and on disk: the only home of pynetdicom. Building blocks, no policy."""
