//! Who may speak to containerd, or to docker, without being root: whoever may can name another runtime.

use super::{Facts, Finding};

const BY_OTHERS: u32 = 0o002;
const BY_GROUP: u32 = 0o020;

pub(super) fn examine(facts: &Facts, findings: &mut Vec<Finding>) {
    for socket in &facts.permissions {
        let path = socket.path.display();
        if socket.mode & BY_OTHERS != 0 {
            let fact = format!("everybody may write to {path}, and so name a runtime that asks nobody");
            findings.push(Finding::error("socket-open-to-all", fact, format!("chmod o-rwx {path}")));
        } else if socket.mode & BY_GROUP != 0 && socket.group != 0 {
            let fact = format!(
                "group {} may write to {path}: its members are as good as root, and past every gate",
                socket.group
            );
            findings.push(Finding::warning(
                "socket-open-to-group",
                fact,
                format!("let nobody into group {}", socket.group),
            ));
        } else if socket.user != 0 {
            let fact = format!("{path} belongs to user {}, who may name a runtime that asks nobody", socket.user);
            findings.push(Finding::warning("socket-of-user", fact, format!("chown root {path}")));
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::doctor::testing::{change, codes};

    #[test]
    fn a_socket_is_roots_alone() {
        let with = |mode: u32, user: u32, group: u32| {
            codes(&change(|facts| {
                let socket = &mut facts.permissions[0];
                (socket.mode, socket.user, socket.group) = (mode, user, group);
            }))
        };
        assert_eq!(with(0o666, 0, 0), ["socket-open-to-all"]);
        assert_eq!(with(0o660, 0, 998), ["socket-open-to-group"]);
        assert_eq!(with(0o600, 1000, 0), ["socket-of-user"]);
        assert_eq!(with(0o660, 0, 0), [""; 0]);
    }
}
