#!/usr/bin/env bash
# run.sh PYTHON BINDING [pytest's arguments]: the tests that need Qt, on a display of their own.
set -euo pipefail
python=$1 binding=$2
shift 2
cd "$(dirname "$0")/../.."
export QT_API=$binding PYTEST_QT_API=$binding QT_QPA_PLATFORM=${QT_QPA_PLATFORM:-xcb} LIBGL_ALWAYS_SOFTWARE=1
exec xvfb-run --auto-servernum --server-args="-screen 0 1920x1200x24" \
  "$python" -m pytest -p pytestqt.plugin -q tests/desktop/qt "$@"
