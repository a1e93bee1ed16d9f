//! `notation completion`: scripts with which shells complete commands and flags.
//!
//! The scripts hold nothing of their own: they ask the hidden command `__complete`, which answers with a candidate on each
//! line and, last, a number for the shell, as the original does.

use super::flags::{Parsed, Stage};
use super::{Command, ROOT, Said, environment, output};

/// That no file names are to be offered beside the candidates.
const NO_FILES: &str = ":4";
/// That the shell's own completion is to go on.
const AS_USUAL: &str = ":0";

const BASH: &str = r#"# bash completion for notation
__notation_complete() {
    local line
    COMPREPLY=()
    while IFS= read -r line; do
        case $line in
            :*) [[ $line == ":0" && ${#COMPREPLY[@]} -eq 0 ]] && compopt -o default 2>/dev/null ;;
            *) COMPREPLY+=("${line%%$'\t'*}") ;;
        esac
    done < <("${COMP_WORDS[0]}" __complete "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null)
}
complete -F __notation_complete notation
"#;

const ZSH: &str = r#"#compdef notation
compdef _notation notation
_notation() {
    local line
    local -a found
    while IFS= read -r line; do
        case $line in
            :0) (( ${#found} )) || _files ;;
            :*) ;;
            *) found+=("${${line//:/\\:}/$'\t'/:}") ;;
        esac
    done < <("${words[1]}" __complete "${(@)words[2,CURRENT]}" 2>/dev/null)
    (( ${#found} )) && _describe 'notation' found
}
if [ "$funcstack[1]" = "_notation" ]; then
    _notation
fi
"#;

const FISH: &str = r"# fish completion for notation
function __notation_complete
    set -l words (commandline -opc)
    $words[1] __complete $words[2..-1] (commandline -ct) 2>/dev/null | string match -v -r '^:[0-9]+$'
end
complete -c notation -f -a '(__notation_complete)'
";

const POWERSHELL: &str = r#"# powershell completion for notation
Register-ArgumentCompleter -Native -CommandName 'notation' -ScriptBlock {
    param($wordToComplete, $commandAst, $cursorPosition)
    $words = @($commandAst.CommandElements | Select-Object -Skip 1 | ForEach-Object { "$_" })
    if ($wordToComplete -eq '') { $words += '""' }
    & notation __complete @words 2>$null | Where-Object { $_ -notmatch '^:\d+$' } | ForEach-Object {
        $name, $about = $_ -split "`t", 2
        if (-not $about) { $about = $name }
        [System.Management.Automation.CompletionResult]::new($name, $name, 'ParameterValue', $about)
    }
}
"#;

macro_rules! script {
    ($name:ident, $script:ident) => {
        #[allow(clippy::unnecessary_wraps, reason = "the form that every command has")]
        pub(super) fn $name(_: &Parsed) -> Said {
            output::to_stdout_whole($script.as_bytes());
            Ok(())
        }
    };
}

script!(bash, BASH);
script!(zsh, ZSH);
script!(fish, FISH);
script!(powershell, POWERSHELL);

/// What may stand in the place of the last of these words.
pub(super) fn complete(words: &[String]) -> String {
    let (last, before) = words.split_last().map_or(("", words), |(last, before)| (last.as_str(), before));
    let mut command = &ROOT;
    for word in before.iter().filter(|word| !word.starts_with('-')) {
        match command.children.iter().find(|child| child.is_named(word)) {
            Some(child) => command = child,
            None => break,
        }
    }
    let mut candidates = if last.starts_with('-') { flags(command) } else { children(command) };
    candidates.retain(|(name, _)| name.starts_with(last));
    let ending = if candidates.is_empty() { AS_USUAL } else { NO_FILES };
    let lines = candidates.into_iter().map(|(name, about)| format!("{name}\t{about}"));
    lines.chain([ending.to_owned()]).collect::<Vec<_>>().join("\n")
}

fn children(command: &Command) -> Vec<(String, String)> {
    let shown = command.children.iter().filter(|child| !child.is_hidden);
    shown.map(|child| (child.name.to_owned(), child.summary.to_owned())).collect()
}

fn flags(command: &Command) -> Vec<(String, String)> {
    let is_experimental = environment::is_experimental();
    let shown = command.flags.iter().filter(|flag| match flag.stage {
        Stage::Stable => true,
        Stage::Experimental => is_experimental,
        Stage::Deprecated => false,
    });
    let flags = shown.map(|flag| (format!("--{}", flag.long), flag.usage.to_owned()));
    flags.chain([("--help".to_owned(), format!("help for {}", command.name))]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offered(words: &str) -> String {
        let words: Vec<String> = words.split(' ').map(str::to_owned).collect();
        let lines = complete(&words);
        lines.lines().map(|line| line.split('\t').next().unwrap()).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn commands_and_flags_are_offered_by_their_beginning() {
        assert_eq!(offered("ve"), "verify version :4");
        assert_eq!(offered("cert "), "add delete generate-test list show :4");
        assert_eq!(offered("sign --k"), "--key :4");
        assert_eq!(offered("cert add --s"), "--store :4");
    }

    #[test]
    fn where_nothing_is_known_the_shell_goes_on_as_usual() {
        for words in ["policy import ./", "sign x", "nonsense x"] {
            assert_eq!(offered(words), ":0", "{words}");
        }
    }
}
