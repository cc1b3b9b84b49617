#!/bin/sh
# No globals but constant tables: nothing of ours lies in .data or .bss but what is allowed here.
#
# The objects of the plain build are asked, since a `static` inside a function hides from a look at
# the sources. Constant tables with pointers are in .data.rel.ro and do not count.
allowed='^(log_level)$'
cd "$(dirname "$0")/../.." || exit 1
find build/src -name '*.o' -path '*.a.p/*' >build/objects.list
[ -s build/objects.list ] || { echo "build/src has no objects"; exit 1; }
found=$(xargs objdump -t <build/objects.list | awk -v allowed="$allowed" '
	/file format/ { file = $1 }
	# address, flags (7 columns, may hold blanks), section, size, name
	{ rest = substr($0, 26) }
	split(rest, part, /[ \t]+/) >= 3 && part[1] ~ /^(\.data|\.bss|\.tdata|\.tbss|\*COM\*)(\..*)?$/ &&
	part[1] !~ /^\.data\.rel\.ro/ && part[3] !~ /^\./ && part[3] !~ allowed {
		print file " " part[3] " in " part[1]
	}')
count=$(wc -l <build/objects.list)
rm -f build/objects.list
[ -z "$found" ] && { echo "globals: none in $count objects"; exit 0; }
echo "$found"
exit 1
