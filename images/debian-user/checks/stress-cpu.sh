# Every method of the cpu stressor, one operation each, with its own checks.
methods=$(stress-ng --cpu-method which 2>&1 | sed 's/.*one of: all //')
for method in $methods; do
  stress-ng --quiet --verify --cpu 1 --cpu-ops 1 --cpu-method "$method" && echo "$method right" || echo "$method WRONG"
done
