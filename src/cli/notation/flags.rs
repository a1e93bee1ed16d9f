//! Arguments as the Notary Project's own command reads them: flags may stand anywhere, `--name=value` and `--name value`
//! are the same, short flags may be joined. What is refused is refused in the same words, since scripts match them.

use std::collections::BTreeMap;

use super::Refusal;
use super::duration;

/// What a flag holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// It is there, or `=true` and `=false`.
    Switch,
    /// One text; the last one counts.
    Text,
    /// As many texts as are given.
    Texts,
    /// A whole number.
    Number,
    /// A length of time, such as `1h30m`.
    Duration,
}

/// One flag of a command.
#[derive(Clone, Copy, Debug)]
pub(super) struct Flag {
    pub(super) long: &'static str,
    pub(super) short: Option<char>,
    pub(super) kind: Kind,
    /// The value where none is given, as the help shows it; nothing for the empty one.
    pub(super) default: &'static str,
    pub(super) usage: &'static str,
    pub(super) stage: Stage,
}

/// How far a flag has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// It is there for everybody.
    Stable,
    /// Refused, and not shown, unless `NOTATION_EXPERIMENTAL` is 1.
    Experimental,
    /// The same, never shown, and on its way out.
    Deprecated,
}

impl Flag {
    pub(super) const fn new(long: &'static str, kind: Kind, usage: &'static str) -> Self {
        Self { long, short: None, kind, default: "", usage, stage: Stage::Stable }
    }

    pub(super) const fn short(self, short: char) -> Self {
        Self { short: Some(short), ..self }
    }

    pub(super) const fn default(self, default: &'static str) -> Self {
        Self { default, ..self }
    }

    pub(super) const fn stage(self, stage: Stage) -> Self {
        Self { stage, ..self }
    }

    /// The flag as messages about it name it.
    fn name(&self) -> String {
        self.short.map_or_else(|| format!("--{}", self.long), |short| format!("-{short}, --{}", self.long))
    }

    fn check(&self, value: &str) -> Result<(), Refusal> {
        let invalid =
            |problem: String| Err(Refusal(format!("invalid argument {value:?} for {:?} flag: {problem}", self.name())));
        match self.kind {
            Kind::Switch if !is_switch(value) => {
                invalid(format!("strconv.ParseBool: parsing {value:?}: invalid syntax"))
            }
            Kind::Number if value.parse::<i64>().is_err() => {
                invalid(format!("strconv.ParseInt: parsing {value:?}: invalid syntax"))
            }
            Kind::Duration => duration::parse(value).map(|_| ()).or_else(invalid),
            _ => Ok(()),
        }
    }
}

const TRUE: [&str; 6] = ["1", "t", "T", "true", "TRUE", "True"];
const FALSE: [&str; 6] = ["0", "f", "F", "false", "FALSE", "False"];

fn is_switch(value: &str) -> bool {
    TRUE.contains(&value) || FALSE.contains(&value)
}

/// The arguments of a command, told apart.
#[derive(Debug, Default)]
pub(super) struct Parsed {
    values: BTreeMap<&'static str, Vec<String>>,
    defaults: BTreeMap<&'static str, &'static str>,
    /// What is not a flag.
    pub(super) rest: Vec<String>,
    /// Whether help was asked for.
    pub(super) help: bool,
}

impl Parsed {
    /// Tells flags from the rest, and refuses a flag that is none of these.
    pub(super) fn of(flags: &[Flag], arguments: &[String]) -> Result<Self, Refusal> {
        let mut parsed =
            Self { defaults: flags.iter().map(|flag| (flag.long, flag.default)).collect(), ..Self::default() };
        let mut arguments = arguments.iter().cloned();
        while let Some(argument) = arguments.next() {
            if argument == "--" {
                parsed.rest.extend(arguments.by_ref());
            } else if let Some(long) = argument.strip_prefix("--") {
                parsed.take_long(flags, long, &mut arguments)?;
            } else if let Some(short) = argument.strip_prefix('-').filter(|short| !short.is_empty()) {
                parsed.take_short(flags, short, &mut arguments)?;
            } else {
                parsed.rest.push(argument);
            }
        }
        Ok(parsed)
    }

    fn take_long(
        &mut self,
        flags: &[Flag],
        argument: &str,
        more: &mut impl Iterator<Item = String>,
    ) -> Result<(), Refusal> {
        let (name, value) = match argument.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (argument, None),
        };
        let Some(flag) = flags.iter().find(|flag| flag.long == name) else {
            if name == "help" {
                self.help = true;
                return Ok(());
            }
            return Err(Refusal(format!("unknown flag: --{name}")));
        };
        let value = match value {
            Some(value) => value,
            None if flag.kind == Kind::Switch => "true".to_owned(),
            None => more.next().ok_or_else(|| Refusal(format!("flag needs an argument: --{name}")))?,
        };
        self.take(flag, value)
    }

    /// Several short flags may be joined; the first that wants a value takes all that follows.
    fn take_short(
        &mut self,
        flags: &[Flag],
        argument: &str,
        more: &mut impl Iterator<Item = String>,
    ) -> Result<(), Refusal> {
        let mut rest = argument.chars();
        while let Some(short) = rest.next() {
            let Some(flag) = flags.iter().find(|flag| flag.short == Some(short)) else {
                if short == 'h' {
                    self.help = true;
                    continue;
                }
                return Err(Refusal(format!("unknown shorthand flag: {short:?} in -{argument}")));
            };
            let text = rest.as_str();
            if let Some(value) = text.strip_prefix('=') {
                return self.take(flag, value.to_owned());
            }
            if flag.kind == Kind::Switch {
                self.take(flag, "true".to_owned())?;
                continue;
            }
            let value = if text.is_empty() { more.next() } else { Some(text.to_owned()) };
            let missing = || Refusal(format!("flag needs an argument: {short:?} in -{argument}"));
            return self.take(flag, value.ok_or_else(missing)?);
        }
        Ok(())
    }

    fn take(&mut self, flag: &Flag, value: String) -> Result<(), Refusal> {
        flag.check(&value)?;
        self.values.entry(flag.long).or_default().push(value);
        Ok(())
    }

    /// Whether the flag was given.
    pub(super) fn has(&self, long: &str) -> bool {
        self.values.contains_key(long)
    }

    /// The flag's text, or its default.
    pub(super) fn text(&self, long: &str) -> &str {
        let given = self.values.get(long).and_then(|values| values.last()).map(String::as_str);
        given.or_else(|| self.defaults.get(long).copied()).unwrap_or_default()
    }

    /// All the flag's texts.
    pub(super) fn texts(&self, long: &str) -> &[String] {
        self.values.get(long).map_or(&[], Vec::as_slice)
    }

    /// Whether the switch is on.
    pub(super) fn is_on(&self, long: &str) -> bool {
        TRUE.contains(&self.text(long))
    }

    /// The flag's number; it was checked when it was taken.
    pub(super) fn number(&self, long: &str) -> i64 {
        self.text(long).parse().unwrap_or_default()
    }

    /// The first thing that is not a flag.
    pub(super) fn first(&self) -> &str {
        self.rest.first().map_or("", String::as_str)
    }

    /// The pairs of a flag that is given as `key=value`. Of a key given twice the last one counts.
    pub(super) fn pairs(&self, long: &str) -> Result<BTreeMap<String, String>, Refusal> {
        let pair = |text: &String| match text.split_once('=') {
            Some((key, value)) => Ok((key.to_owned(), value.to_owned())),
            None => Err(Refusal(format!(r#"could not parse flag {long}: key-value pair requires "=" as separator"#))),
        };
        self.texts(long).iter().map(pair).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FLAGS: [Flag; 4] = [
        Flag::new("verbose", Kind::Switch, "").short('v'),
        Flag::new("key", Kind::Text, "").short('k'),
        Flag::new("metadata", Kind::Texts, "").short('m'),
        Flag::new("bits", Kind::Number, "").short('b').default("2048"),
    ];

    fn parsed(arguments: &str) -> Result<Parsed, String> {
        let arguments: Vec<String> = arguments.split_whitespace().map(str::to_owned).collect();
        Parsed::of(&FLAGS, &arguments).map_err(|refusal| refusal.0)
    }

    #[test]
    fn a_flag_may_stand_anywhere_and_in_any_form() {
        for arguments in
            ["-k a image -v", "image --key=a --verbose", "-vka image", "image -vk=a", "--key a -v -- image"]
        {
            let parsed = parsed(arguments).unwrap();
            assert!(parsed.is_on("verbose"), "{arguments}");
            assert_eq!((parsed.text("key"), parsed.first()), ("a", "image"), "{arguments}");
        }
        assert_eq!(parsed("-- -v").unwrap().rest, ["-v"]);
        assert!(!parsed("--verbose=false").unwrap().is_on("verbose"));
        assert_eq!(parsed("").unwrap().number("bits"), 2048);
    }

    #[test]
    fn what_is_no_flag_or_no_value_is_refused_by_name() {
        for (arguments, message) in [
            ("--nope", "unknown flag: --nope"),
            ("-vx", "unknown shorthand flag: 'x' in -vx"),
            ("--key", "flag needs an argument: --key"),
            ("-k", "flag needs an argument: 'k' in -k"),
            ("-b x", r#"invalid argument "x" for "-b, --bits" flag: strconv.ParseInt: parsing "x": invalid syntax"#),
        ] {
            assert_eq!(parsed(arguments).unwrap_err(), message);
        }
    }

    #[test]
    fn a_pair_needs_its_sign_and_the_last_of_a_key_counts() {
        let pairs = parsed("-m a=1 -m b=x=y -m a=2").unwrap().pairs("metadata").unwrap();
        assert_eq!(pairs.into_iter().map(|(k, v)| k + &v).collect::<Vec<_>>(), ["a2", "bx=y"]);
        let refusal = parsed("-m a").unwrap().pairs("metadata").unwrap_err();
        assert_eq!(refusal.0, r#"could not parse flag metadata: key-value pair requires "=" as separator"#);
    }
}
