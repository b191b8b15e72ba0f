# Numbers, strings and arrays in awk.
BEGIN {
  srand(7)
  for (i = 1; i <= 100000; i++) { s += sin(i) / i; p = (p * 31 + i) % 1000003; c[p % 100]++ }
  printf "%.15g %d %d\n", s, p, length(c)
  for (i = 0; i < 10; i++) printf "%.12g %.12g %.12g %d\n", exp(i / 3), log(i + 1), atan2(i, 2), int(2 ^ (i * 5))
  n = split("the quick brown fox jumps over the lazy dog", word, " ")
  for (i = 1; i <= n; i++) seen[word[i]]++
  n = asorti(seen, key)
  for (i = 1; i <= n; i++) printf "%s=%d ", key[i], seen[key[i]]
  print ""
  text = sprintf("%5.2f|%-8s|%08.3e|%x|%o", 3.14159, "left", 12345.678, 48879, 511)
  gsub(/[0-9]+/, "<&>", text)
  print text, toupper(substr(text, 3, 9)), and(12, 10), xor(12, 10), lshift(1, 40), strtonum("0x1F")
}
