#!/usr/bin/env node
// Plain JavaScript that any Node since 14 reads: finds a Node that is new enough, then starts the program.
import { spawn } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import * as nodeModule from 'node:module';
import { constants } from 'node:os';
import { dirname, join } from 'node:path';
import { unpackAhead } from './ahead.js';
import { isBuilt } from './built.js';

const MINIMUM = 24;

/** Node itself as a package, an optional dependency of this one. */
function findNode() {
  const name = `node-${process.platform}-${process.arch}`;
  try {
    const manifest = nodeModule.createRequire(import.meta.url).resolve(`${name}/package.json`);
    const { version } = JSON.parse(readFileSync(manifest, 'utf8'));
    const binary = join(dirname(manifest), 'bin', process.platform === 'win32' ? 'node.exe' : 'node');
    if (Number.parseInt(version, 10) >= MINIMUM && existsSync(binary)) return binary;
  } catch {
    // not installed
  }
  return undefined;
}

/** Runs this file again under `binary`, as if it had been started with it. */
function handOver(binary) {
  const child = spawn(binary, process.argv.slice(1), { stdio: 'inherit' });
  const signals = ['SIGINT', 'SIGTERM', 'SIGHUP', 'SIGQUIT', 'SIGUSR1', 'SIGUSR2'];
  for (const signal of signals) process.on(signal, () => child.kill(signal));
  child.on('error', (error) => {
    console.error(`ukl-emu: ${binary} cannot be started: ${error.message}`);
    process.exit(2);
  });
  child.on('exit', (code, signal) => process.exit(signal === null ? code : 128 + constants.signals[signal]));
}

function start() {
  const args = process.argv.slice(2);
  nodeModule.enableCompileCache();
  if (!isBuilt()) return import('../src/cli/main.ts').then(({ main }) => main(args));
  const ahead = unpackAhead(args, new URL('../dist/cli/unpack-worker.js', import.meta.url));
  return import('../dist/cli/main.js').then(({ main }) => main(args, ahead));
}

if (Number.parseInt(process.versions.node, 10) >= MINIMUM) {
  start();
} else {
  const binary = findNode();
  if (binary === undefined) {
    console.error(
      `ukl-emu: needs Node.js ${MINIMUM} or newer, this is ${process.versions.node}; install one from https://nodejs.org, or reinstall ukl-emu with its optional dependencies`,
    );
    process.exitCode = 2;
  } else handOver(binary);
}
