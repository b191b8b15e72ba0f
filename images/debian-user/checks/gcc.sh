# C programs compiled by the guest, with and without optimisation.
set -e
for level in -O0 -O2 '-O2 -mfpmath=387' '-O3 -funroll-loops'; do
  for program in hello arithmetic; do
    gcc $level -Wall -o $program /verify/programs/$program.c -lm
    echo "== $program $level"
    ./$program
  done
done
rm -f hello arithmetic
