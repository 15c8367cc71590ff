#!/usr/bin/env bash
# Refuse files over 500 kB: weights, images and archives do not belong into the repository. Networks that we trained
# ourselves may have 5 MB.
status=0
for file in "$@"; do
  size=$(stat -c %s "$file" 2>/dev/null || echo 0)
  limit=512000
  [[ "$file" == monai_bundles/cxr_pneumonia*/models/model.safetensors ]] && limit=5000000
  if [ "$size" -gt "$limit" ]; then
    echo "$file has $size bytes, at most $limit may be committed" >&2
    status=1
  fi
done
exit $status
