//! Whether what concurrent clients saw of one token can have happened one thing after another.
//!
//! The search is Wing and Gong's: of the operations that are not placed yet, one that began before any of them
//! had ended can come next; what was tried is remembered by what is placed and what state that led to. Tokens
//! are independent of each other, so each is judged alone and its history stays short.

use std::collections::HashSet;

/// What a client asked of a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ask {
    /// Presents it, or has it introspected: a use, where uses are counted.
    Use,
    /// Ends it.
    Revoke,
    /// Switches it on or off.
    Switch(bool),
    /// Swaps it for a new one, with no overlap.
    Rotate,
    /// Reads its row.
    Read,
}

/// What came of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Told {
    /// Done; or, for a use, that the token is good.
    Yes,
    /// Refused; for a use, that the token is not good.
    No,
    /// The row.
    Row(Token),
    /// The answer never came: it may have happened until the operation's end, or never.
    Unknown,
}

/// A token as the contract has it, and nothing else.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Token {
    pub uses: u64,
    pub revoked: bool,
    pub on: bool,
}

/// Just minted.
pub(crate) const NEW: Token = Token { uses: 0, revoked: false, on: true };

/// One operation, between two moments on one clock. What was still unknown when its daemon was killed ended,
/// at the latest, with that daemon.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Operation {
    pub called: u64,
    pub returned: u64,
    pub ask: Ask,
    pub told: Told,
}

impl Token {
    fn counts(self, uses_max: Option<u64>) -> bool {
        !self.revoked && self.on && uses_max.is_none_or(|most| self.uses < most)
    }

    /// What the token is afterwards, if this operation at this moment would be told that.
    fn after(self, uses_max: Option<u64>, ask: Ask, told: Told) -> Vec<Self> {
        let good = self.counts(uses_max);
        let done = match ask {
            Ask::Use if good && uses_max.is_some() => Self { uses: self.uses + 1, ..self },
            Ask::Rotate if good => Self { revoked: true, ..self },
            Ask::Revoke => Self { revoked: true, ..self },
            Ask::Switch(on) => Self { on, ..self },
            Ask::Use | Ask::Rotate | Ask::Read => self,
        };
        if told == Told::Unknown {
            return vec![done, self];
        }
        let fits = match (ask, told) {
            (Ask::Use | Ask::Rotate, Told::Yes) => good,
            (Ask::Use | Ask::Rotate, Told::No) => !good,
            (Ask::Revoke | Ask::Switch(_), told) => told == Told::Yes,
            (Ask::Read, Told::Row(row)) => row == self,
            (Ask::Read, Told::Yes | Told::No) | (_, Told::Row(_) | Told::Unknown) => false,
        };
        if fits { vec![done] } else { Vec::new() }
    }
}

/// Finds an order of `operations` that one token which counts `uses_max` uses could have gone through, or says how
/// far the furthest attempt came.
pub(crate) fn judge(uses_max: Option<u64>, operations: &[Operation]) -> Result<(), Stuck> {
    let mut ordered = operations.to_vec();
    ordered.sort_by_key(|operation| operation.called);
    let mut search = Search { uses_max, operations: &ordered, seen: HashSet::new(), furthest: Vec::new() };
    let mut placed = vec![false; ordered.len()];
    if search.goes_on(NEW, &mut placed, &mut Vec::new()) {
        return Ok(());
    }
    let order = search.furthest.iter().map(|at| ordered[*at]).collect();
    let placed: HashSet<usize> = search.furthest.iter().copied().collect();
    let left = (0..ordered.len()).filter(|at| !placed.contains(at)).map(|at| ordered[at]).collect();
    Err(Stuck { order, left })
}

/// Where no order was found: the longest beginning of one, and what would have had to come next.
#[derive(Debug)]
pub(crate) struct Stuck {
    #[expect(dead_code, reason = "read off a failure")]
    pub order: Vec<Operation>,
    #[expect(dead_code, reason = "read off a failure")]
    pub left: Vec<Operation>,
}

struct Search<'a> {
    uses_max: Option<u64>,
    operations: &'a [Operation],
    seen: HashSet<(Vec<bool>, Token)>,
    furthest: Vec<usize>,
}

impl Search<'_> {
    fn goes_on(&mut self, token: Token, placed: &mut Vec<bool>, order: &mut Vec<usize>) -> bool {
        if order.len() == placed.len() {
            return true;
        }
        if order.len() >= self.furthest.len() {
            self.furthest.clone_from(order);
        }
        let waiting = (0..placed.len()).filter(|at| !placed[*at]);
        let first_end = waiting.clone().map(|at| self.operations[at].returned).min().unwrap_or(u64::MAX);
        // Of those that ask and were told the same, the one that ended first may as well go first.
        let mut next: Vec<usize> = waiting.filter(|at| self.operations[*at].called <= first_end).collect();
        next.sort_by_key(|at| self.operations[*at].returned);
        let mut tried: Vec<(Ask, Told)> = Vec::new();
        for at in next {
            let Operation { ask, told, .. } = self.operations[at];
            if tried.contains(&(ask, told)) {
                continue;
            }
            tried.push((ask, told));
            placed[at] = true;
            order.push(at);
            for after in token.after(self.uses_max, ask, told) {
                if self.seen.insert((placed.clone(), after)) && self.goes_on(after, placed, order) {
                    return true;
                }
            }
            order.pop();
            placed[at] = false;
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Ask::{Read, Revoke, Rotate, Switch, Use};
    use Told::{No, Row, Unknown, Yes};

    /// Each operation: called, returned, what was asked, what was told.
    #[track_caller]
    fn check(what: &str, uses_max: Option<u64>, operations: &[(u64, u64, Ask, Told)], possible: bool) {
        let operations: Vec<Operation> = operations
            .iter()
            .map(|&(called, returned, ask, told)| Operation { called, returned, ask, told })
            .collect();
        let judged = judge(uses_max, &operations);
        assert_eq!(judged.is_ok(), possible, "{what}: {judged:?}");
    }

    #[test]
    fn what_one_token_can_have_gone_through_is_accepted() {
        check("nothing", None, &[], true);
        check("one after another", None, &[(0, 1, Use, Yes), (2, 3, Revoke, Yes), (4, 5, Use, No)], true);
        check(
            "a use beside its revocation",
            None,
            &[(0, 9, Revoke, Yes), (1, 2, Use, Yes), (3, 4, Use, No)],
            true,
        );
        check(
            "two of three beside each other",
            Some(2),
            &[(0, 9, Use, Yes), (1, 8, Use, No), (2, 7, Use, Yes)],
            true,
        );
        check(
            "off and on",
            None,
            &[(0, 1, Switch(false), Yes), (2, 3, Use, No), (4, 5, Switch(true), Yes), (6, 7, Use, Yes)],
            true,
        );
        check("rotated once", None, &[(0, 9, Rotate, Yes), (1, 8, Rotate, No), (10, 11, Use, No)], true);
        let spent = Token { uses: 1, ..NEW };
        check("a row", Some(3), &[(0, 1, Use, Yes), (2, 3, Read, Row(spent))], true);
        let revoked = Token { revoked: true, ..NEW };
        check(
            "a row while it changes",
            None,
            &[(0, 9, Revoke, Yes), (1, 2, Read, Row(NEW)), (3, 4, Read, Row(revoked))],
            true,
        );
    }

    #[test]
    fn what_no_answer_tells_happened_until_its_end_or_never() {
        check("it did", None, &[(0, 5, Revoke, Unknown), (6, 7, Use, No)], true);
        check("it did not", None, &[(0, 5, Revoke, Unknown), (6, 7, Use, Yes)], true);
        check("not both", None, &[(0, 5, Revoke, Unknown), (6, 7, Use, No), (8, 9, Use, Yes)], false);
        check(
            "not later than its end",
            None,
            &[(0, 5, Revoke, Unknown), (6, 7, Use, Yes), (8, 9, Use, No)],
            false,
        );
        check(
            "later, without an end",
            None,
            &[(0, u64::MAX, Revoke, Unknown), (6, 7, Use, Yes), (8, 9, Use, No)],
            true,
        );
        check("a lost use of one", Some(1), &[(0, 5, Use, Unknown), (6, 7, Use, No)], true);
        check(
            "a lost use of two",
            Some(2),
            &[(0, 5, Use, Unknown), (6, 7, Use, Yes), (8, 9, Use, Yes)],
            true,
        );
        check(
            "but not of a third",
            Some(2),
            &[(0, 5, Use, Unknown), (6, 7, Use, Yes), (8, 9, Use, Yes), (10, 11, Use, Yes)],
            false,
        );
    }

    #[test]
    fn a_stale_read_is_rejected() {
        check("used after revocation", None, &[(0, 1, Revoke, Yes), (2, 3, Use, Yes)], false);
        check("used while off", None, &[(0, 1, Switch(false), Yes), (2, 3, Use, Yes)], false);
        check("refused while on", None, &[(0, 1, Use, No)], false);
        check(
            "seen revoked, then good",
            None,
            &[(0, 9, Revoke, Yes), (1, 2, Use, No), (3, 4, Use, Yes)],
            false,
        );
        check("an old row", None, &[(0, 1, Revoke, Yes), (2, 3, Read, Row(NEW))], false);
        check("rotated out, then good", None, &[(0, 1, Rotate, Yes), (2, 3, Use, Yes)], false);
    }

    #[test]
    fn a_lost_update_is_rejected() {
        check("two of one use", Some(1), &[(0, 9, Use, Yes), (1, 8, Use, Yes)], false);
        check(
            "a use that was not counted",
            Some(3),
            &[(0, 1, Use, Yes), (2, 3, Use, Yes), (4, 5, Read, Row(Token { uses: 1, ..NEW }))],
            false,
        );
        check(
            "a revocation undone by a switch",
            None,
            &[(0, 1, Revoke, Yes), (2, 3, Switch(true), Yes), (4, 5, Use, Yes)],
            false,
        );
        check(
            "a switch undone by a revocation's row",
            None,
            &[
                (0, 1, Switch(false), Yes),
                (2, 3, Revoke, Yes),
                (4, 5, Read, Row(Token { revoked: true, ..NEW })),
            ],
            false,
        );
        check("rotated twice", None, &[(0, 9, Rotate, Yes), (1, 8, Rotate, Yes)], false);
    }

    #[test]
    fn many_lost_answers_do_not_make_the_search_endless() {
        let mut operations: Vec<(u64, u64, Ask, Told)> = (0..16).map(|at| (at, 100, Use, Unknown)).collect();
        operations.extend((0..16).map(|at| (at, 100, Switch(at % 2 == 0), Unknown)));
        operations.extend((0..20).map(|at| (200 + 2 * at, 201 + 2 * at, Use, Yes)));
        check("sixteen clients killed", Some(36), &operations, true);
        operations.push((300, 301, Use, Yes));
        check("and one use too many", Some(20), &operations, false);
    }
}
