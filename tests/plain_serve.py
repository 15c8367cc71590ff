"""The program of ``plain_reader``. Every process of the service imports this file again, so it imports nothing."""

if __name__ == "__main__":
    import sys

    import plain_reader

    sys.exit(plain_reader.main())
