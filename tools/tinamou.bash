# bash completion for tinamou. Options come from --help, so that they cannot go stale.
_tinamou()
{
	local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD - 1]} words=
	case $prev in
	--engine | -e) words="auto kvm driver translate interpret" ;;
	--as) words="disk cd floppy kernel sector" ;;
	--firmware) words="bios uefi none" ;;
	--boot) words="disk cdrom floppy" ;;
	--clock) words="host instructions" ;;
	--cpu-model) words="baseline max 486 pentium3" ;;
	--debugcon) words="none stdio file:" ;;
	--monitor) words="keys stdio none" ;;
	--on) words="reset=restart reset=end triple-fault=end triple-fault=restart halt=end halt=stay poweroff=end poweroff=stop" ;;
	--console) words="auto serial screen none" ;;
	--serial) words="stdio none file: pty" ;;
	--net | -n) words="user tap= socket= none" ;;
	--display) words="auto terminal blocks sixel text window vnc vnc= none" ;;
	--jail) words="on off" ;;
	--trace) words="exits" ;;
	status | console | monitor | pause | resume | reset | stop | kill | screenshot)
		words=$(tinamou list 2>/dev/null | awk 'NR > 1 { print $1 }')
		;;
	--kernel | -k | --initrd | -i | --disk | -d | --cdrom | --floppy) ;;
	*)
		case $cur in
		-*) words=$(tinamou run --help 2>&1 | grep -oE -e '--[a-z][a-z-]+' | sort -u) ;;
		*) [ "$COMP_CWORD" -gt 1 ] || words="run qemu list status console monitor pause resume reset stop kill screenshot engines disk version help" ;;
		esac
		;;
	esac
	mapfile -t COMPREPLY < <(compgen -W "$words" -- "$cur")
	case $cur in
	-*) ;;
	*) [ -n "$words" ] && [ "$COMP_CWORD" -gt 1 ] ||
		mapfile -t -O ${#COMPREPLY[@]} COMPREPLY < <(compgen -f -- "$cur") ;;
	esac
}
complete -F _tinamou tinamou
