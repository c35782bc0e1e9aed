/** What `qmirror completion` prints. Each script hands the line to `qmirror __complete` (see `complete.ts`) and shows its answer. */

const bash = `# bash completion for qmirror: source <(qmirror completion bash)
_qmirror() {
  local word typed prefix directive="" line value i
  local -a words=()
  # bash takes = and : for the ends of words: what was written as one word is put together again.
  for ((i = 1; i <= COMP_CWORD; i++)); do
    word=\${COMP_WORDS[i]}
    if ((i > 1)) && [[ $word =~ ^[=:]+$ || \${COMP_WORDS[i - 1]} =~ ^[=:]+$ ]]; then
      words[\${#words[@]} - 1]+=$word
    else
      words+=("$word")
    fi
  done
  typed=\${COMP_WORDS[COMP_CWORD]}
  [[ $typed =~ ^[=:]+$ ]] && typed=""
  prefix=\${words[\${#words[@]} - 1]}
  prefix=\${prefix%"$typed"}
  prefix=\${prefix//\\\\/}
  for i in "\${!words[@]}"; do
    word=\${words[i]//\\\\/}
    word=\${word#[\\"\\']}
    words[i]=\${word%[\\"\\']}
  done
  COMPREPLY=()
  while IFS= read -r line; do
    if [[ -z $directive ]]; then
      directive=$line
      continue
    fi
    value=\${line%%$'\\t'*}
    value=\${value#"$prefix"}
    if [[ $typed != [\\"\\']* && $value == *[^[:alnum:]_.,:=/@%+-]* ]]; then
      printf -v value %q "$value"
    fi
    COMPREPLY+=("$value")
  done < <("\${COMP_WORDS[0]/#\\~/$HOME}" __complete "\${words[@]}" 2>/dev/null)
  case $directive in
  files) compopt -o default 2>/dev/null ;;
  directories) compopt -o dirnames 2>/dev/null ;;
  esac
  return 0
}
complete -F _qmirror qmirror
`;

const zsh = `#compdef qmirror
# zsh completion for qmirror: source <(qmirror completion zsh), or a file _qmirror in a directory of $fpath
_qmirror() {
  local line directive=""
  local -a candidates
  while IFS= read -r line; do
    if [[ -z $directive ]]; then
      directive=$line
    else
      candidates+=("\${\${line%%$'\\t'*}//:/\\\\:}:\${line#*$'\\t'}")
    fi
  done < <("\${(Q)words[1]/#\\~/$HOME}" __complete "\${(@Q)words[2,CURRENT-1]}" "\${(Q)IPREFIX}\${(Q)PREFIX}" 2>/dev/null)
  case $directive in
  files) _files ;;
  directories) _files -/ ;;
  *) _describe qmirror candidates ;;
  esac
}
if [[ $funcstack[1] == _qmirror ]]; then
  _qmirror "$@"
else
  compdef _qmirror qmirror
fi
`;

const fish = `# fish completion for qmirror: qmirror completion fish | source
function __qmirror_complete
    set -l before (commandline -opc)
    set -l typed (commandline -ct)
    set -l lines ($before[1] __complete $before[2..-1] "$typed" 2>/dev/null)
    switch "$lines[1]"
        case files
            __fish_complete_path "$typed"
        case directories
            __fish_complete_directories "$typed"
        case '*'
            if test (count $lines) -gt 1
                printf '%s\\n' $lines[2..-1]
            end
    end
end
complete -c qmirror -f -a '(__qmirror_complete)'
`;

export const completionScripts = { bash, zsh, fish } as const;
export type Shell = keyof typeof completionScripts;
export const shells = Object.keys(completionScripts) as Shell[];
