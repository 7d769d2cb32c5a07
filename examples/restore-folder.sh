#!/bin/sh
# Restore every video and picture of a folder: enlarge by 4 into FOLDER/restored, one after the other.
# What is left out is named; a file that fails is named and does not stop the rest (exit status 7);
# a second run skips what is there.
#
#     sh examples/restore-folder.sh FOLDER [vrx upscale options]
set -u

if [ $# -lt 1 ] || [ ! -d "$1" ]; then
    echo "usage: $0 FOLDER [vrx upscale options]" >&2
    exit 2
fi
folder=$1
shift
exec vrx upscale -s 4 -o "$folder/restored/" --skip-existing "$@" -- "$folder"
