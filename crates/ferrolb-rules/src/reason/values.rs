//! Texts for LB3001 to LB3999: values of the chart.
//!
//! Same shape as in `system.rs`.

use super::{Code, Explanation};

pub(super) const TABLE: &[Explanation] = &[
    Explanation {
        code: Code::UnknownValue,
        summary: "A value that the chart does not have; it does nothing",
        fix: "correct the name as the message says, or remove it; `helm show values` lists them all",
        long: "\
Helm accepts any value, and a chart that does not use it says nothing. So a misspelt value looks as
if it were set, and what it was to change stays as it was. Nothing is refused here for it either:
files that render must go on rendering. `ferrolb lint` names each such value with its file, line and
column, also inside the values of an Argo CD Application, and the value that was probably meant.

It comes about by a typo, by a value of another chart, or by a value that existed in an earlier one.

See it: `ferrolb lint values.yaml`, or `ferrolb lint .` at the top of the repository.

What to do: write the name that the message suggests, or remove the value.

Wrong:
    speaker:
      ignore-exclude-lb: true

Right:
    speaker:
      ignoreExcludeLB: true",
    },
    Explanation {
        code: Code::ValueWithoutEffect,
        summary: "A value of the chart is accepted and does nothing",
        fix: "leave it out; the message says what stands in its place",
        long: "\
Values written for MetalLB's chart work unchanged. A few of them set up things that do not exist
here, above all FRR: BGP and BFD run in the speaker itself, so nothing is installed for FRR whatever
these values say. They are accepted, so that switching over is an edit of two lines and switching
back as well, and they are named, so that nobody waits for their effect.

It comes about after moving from MetalLB, when its values were kept. Values that are off (false,
empty) are not mentioned, because they ask for nothing.

Images of MetalLB, or copies of them in a mirror, are among these values: the chart cannot run them
and takes FerroLB's. So is a securityContext that makes the speaker another user than root: the
capability NET_RAW, which it gets to answer ARP and NDP, counts for root alone.

See it: `ferrolb lint values.yaml`.

What to do: nothing has to be done. To be rid of the note, leave the value out.

Wrong:
    speaker:
      frr:
        enabled: true

Right:
    speaker:
      frr:
        enabled: false",
    },
    Explanation {
        code: Code::ValueRefused,
        summary: "The chart refuses these values, so nothing is installed or changed",
        fix: "write what the message says; `helm show values` has every value with what it may be",
        long: "\
A value has a type that cannot be meant (a word for a port), two values contradict one another, or
what comes of it could never run (an empty repository, a quantity that is none, one port twice in a
pod). Helm then renders nothing at all, and what runs goes on as it was: half an installation would
be worse. Helm names the value with its path (`at '/speaker/logLevel'`), Argo CD shows the same as
an error of the manifest's generation. Every value that MetalLB's chart takes is taken.

It comes about by a value at the wrong depth, by quotes that are missing or too many, or by an old
configInline, which MetalLB gave up with 0.13.

See it: `ferrolb lint values.yaml`, which also names file, line and column.

What to do: correct the value. A wrong name is no reason to refuse: that is LB3001.

Wrong:
    speaker:
      tolerations:
        key: edge

Right:
    speaker:
      tolerations:
        - key: edge",
    },
];
