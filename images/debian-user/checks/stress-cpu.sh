# Every method of the cpu stressor, 20 operations each, with its own checks.
methods=$(stress-ng --cpu-method which 2>&1 | sed 's/.*one of: all //')
for method in $methods; do
  stress-ng --quiet --verify --cpu 1 --cpu-ops 20 --cpu-method "$method" && echo "$method right" || echo "$method WRONG"
done
