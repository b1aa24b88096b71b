# shellcheck shell=bash disable=SC2154
# For scripts that need an S3 server and a mount of it: sourced, not run. What is started here is taken down when the
# script ends, however it ends.
#
#   $work                           a folder for temporary files
#   $python                         the Python that scripts/setup has prepared
#   start_server ROOT [OPTION...]   serves the folders below ROOT as buckets; sets $endpoint and $server
#   mount_bucket BUCKET DIR         mounts a bucket; sets $mountpoint
#   unmount_bucket                  takes the mount away
#   mount_sources DIR SOURCE...     mounts several sources of the server, beside the bucket, until the end
#   observed REQUEST                what the server has seen: "summary", "requests"; "clear" forgets it
#
# $fitsfs and $fitsfs_lab name the programs; the script sets them before it calls a function.

work=$(mktemp -d "${TMPDIR:-/tmp}/fitsfs-rig.XXXXXX")
python=$PWD/.venv/bin/python
server=
endpoint=
mountpoint=
# Folders that were made for the mountpoint, the innermost first.
made=()
keep=
# Mountpoints beside that of the bucket.
beside=()

# The settings of whoever runs this are for other servers than ours.
unset "${!AWS_@}" "${!STORAGE_@}" S3_ENDPOINT_URL
export AWS_CONFIG_FILE=/dev/null AWS_SHARED_CREDENTIALS_FILE=/dev/null
export NO_PROXY=127.0.0.1 no_proxy=127.0.0.1

take_down() {
    local status=$?
    trap - EXIT
    if [ -z "$keep" ]; then
        local other
        for other in "${beside[@]}"; do
            "$fitsfs" unmount "$other" || umount -f -l "$other" 2>/dev/null || status=1
        done
        [ -z "$mountpoint" ] || unmount_bucket || status=1
        if [ -n "$server" ]; then
            kill "$server" 2>/dev/null || true
            wait "$server" 2>/dev/null || true
        fi
        # The daemon's log of a mount in a temporary folder has its name.
        rm -f /var/log/fitsfs/*"fitsfs-rig-${work##*.}"*.log \
            "${XDG_STATE_HOME:-${HOME:-}/.local/state}/fitsfs/"*"fitsfs-rig-${work##*.}"*.log
        rm -rf --one-file-system "$work"
    fi
    exit "$status"
}
trap take_down EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM

start_server() {
    local root=$1 port=$work/port
    shift
    "$fitsfs_lab" serve --root "$root" --anonymous --port-file "$port" "$@" >"$work/server.log" 2>&1 &
    server=$!
    local tries=0
    until [ -e "$port" ]; do
        if ! kill -0 "$server" 2>/dev/null || [ $((tries += 1)) -gt 200 ]; then
            cat "$work/server.log" >&2
            echo "the server does not start" >&2
            return 1
        fi
        sleep 0.05
    done
    endpoint=http://127.0.0.1:$(cat "$port")
}

mount_bucket() {
    local bucket=$1 folder=$2
    until [ -e "$folder" ]; do
        made+=("$folder")
        folder=$(dirname "$folder")
    done
    mountpoint=$2
    "$fitsfs" mount "s3://$bucket" "$mountpoint" --endpoint-url "$endpoint" --no-sign-request --log warn \
        --cache-dir "$work/cache"
}

mount_sources() {
    local folder=$1
    shift
    beside+=("$folder")
    "$fitsfs" mount "$@" "$folder" --endpoint-url "$endpoint" --no-sign-request --log warn --cache-dir "$work/cache"
}

unmount_bucket() {
    local gone=$mountpoint folder
    mountpoint=
    if ! "$fitsfs" unmount "$gone"; then
        # Whatever keeps it busy, nothing of it may stay behind.
        umount -f -l "$gone" 2>/dev/null || fusermount3 -uz "$gone" || true
        return 1
    fi
    for folder in "${made[@]}"; do
        rmdir "$folder" 2>/dev/null || true
    done
}

observed() {
    "$python" - "$endpoint/_lab/$1" <<'PYTHON'
import sys
from urllib.request import Request, urlopen

method = "POST" if sys.argv[1].endswith("/clear") else "GET"
sys.stdout.write(urlopen(Request(sys.argv[1], method=method), timeout=10).read().decode())
PYTHON
}
