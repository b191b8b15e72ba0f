// After `npm ci` in a checkout: builds the program, which then starts several times sooner than from its sources.
import { spawnSync } from 'node:child_process';
import { createRequire } from 'node:module';
import { isBuilt } from '../bin/built.js';

function hasTools() {
  try {
    const { resolve } = createRequire(import.meta.url);
    resolve('typescript/package.json');
    resolve('rolldown/package.json');
    return true;
  } catch {
    // installed without development dependencies
    return false;
  }
}

if (!isBuilt() && hasTools()) {
  const { status } = spawnSync('npm', ['run', '--silent', 'build'], {
    stdio: 'inherit',
    shell: process.platform === 'win32',
  });
  if (status !== 0) console.error('ukl-emu: not built, so it runs from its sources, which takes longer to start');
}
