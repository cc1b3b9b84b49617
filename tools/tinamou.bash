# bash completion for tinamou. Options come from --help, so that they cannot go stale.
_tinamou()
{
	local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD - 1]} words=
	case $prev in
	--engine | -e) words="auto kvm driver translate interpret" ;;
	--console) words="auto serial screen none" ;;
	--serial) words="stdio none file: pty" ;;
	--display) words="auto blocks sixel text none" ;;
	--jail) words="on off" ;;
	--trace) words="exits" ;;
	--kernel | -k | --initrd | -i) ;;
	*)
		case $cur in
		-*) words=$(tinamou run --help 2>&1 | grep -oE -e '--[a-z][a-z-]+' | sort -u) ;;
		*) [ "$COMP_CWORD" -gt 1 ] || words="run engines disk version help" ;;
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
