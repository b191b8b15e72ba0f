# Numbers in Python beyond its own tests: long products, decimals, fractions, hashes, random streams.
import cmath, decimal, fractions, hashlib, math, random, zlib

n = 1
for k in range(1, 1500):
    n *= k
print(hashlib.sha256(str(n).encode()).hexdigest(), n % (2**127 - 1), pow(3, n, 2**521 - 1) % 10**30)
random.seed(42)
values = [random.gauss(0, 1) for _ in range(5000)]
print(math.fsum(values).hex(), max(values).hex(), sum(x * x for x in values).hex())
decimal.getcontext().prec = 60
print(decimal.Decimal(2).sqrt(), decimal.Decimal(1).exp(), decimal.Decimal(10).ln())
print(sum((fractions.Fraction(1, k) for k in range(1, 60)), fractions.Fraction(0)))
print(*(f'{f(x):.14g}' for x in (0.1, 0.7, 1.9) for f in (math.sin, math.exp, math.gamma, math.erf, math.log1p, math.sqrt)))
print(cmath.sqrt(-2 + 3j), cmath.phase(-1 - 1j))
print(zlib.crc32(str(values).encode()), zlib.adler32(str(values).encode()), hash(2**200 + 7), hash(1.5))
print(sorted(random.sample(range(10**6), 12)), [round(x, 3) for x in values[:8]], 0.1 + 0.2, 1e23, 5e-324, 2**0.5)
