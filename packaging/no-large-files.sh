#!/usr/bin/env bash
# Refuse files over 500 kB: weights, images and archives do not belong into the repository.
status=0
for file in "$@"; do
  size=$(stat -c %s "$file" 2>/dev/null || echo 0)
  if [ "$size" -gt 512000 ]; then
    echo "$file has $size bytes, at most 512000 may be committed" >&2
    status=1
  fi
done
exit $status
