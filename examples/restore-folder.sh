#!/bin/sh
# Restore every video of a folder: enlarge by 4 into FOLDER/restored, one after the other.
# A file that fails is named and does not stop the rest; a second run skips what is there.
#
#     sh examples/restore-folder.sh FOLDER [vrx upscale options]
set -u

if [ $# -lt 1 ] || [ ! -d "$1" ]; then
    echo "usage: $0 FOLDER [vrx upscale options]" >&2
    exit 2
fi
folder=$1
shift
mkdir -p "$folder/restored"

failed=0
for clip in "$folder"/*.mp4 "$folder"/*.mkv "$folder"/*.mov "$folder"/*.webm; do
    [ -e "$clip" ] || continue
    name=$(basename "$clip")
    result="$folder/restored/${name%.*}.x4.mkv"
    if [ -e "$result" ]; then
        echo "$result is there, skipped" >&2
        continue
    fi
    vrx upscale "$clip" -s 4 -o "$result" "$@" || failed=$((failed + 1))
done

if [ "$failed" -gt 0 ]; then
    echo "$failed of the videos failed" >&2
    exit 7
fi
