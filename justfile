# One-line recipes; the scripts do the work.

# The main job, for real: three nodes, a laptop and the user's files
lab *ARGS:
    ./scripts/lab {{ARGS}}

# Everything that CI runs
test:
    ./scripts/test

# The part without root, under a minute after the build
fast:
    ./scripts/test fast

# Generated files
update-snapshots:
    UPDATE_SNAPSHOTS=1 cargo test -p ferrolb-rules
    UPDATE_SNAPSHOTS=1 ./scripts/chart
