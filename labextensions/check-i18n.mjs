// Fails when a string people see is missing in a language, unused, or written into the source instead of the dictionaries.
import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';

const HERE = dirname(fileURLToPath(import.meta.url));
const SOURCES = ['ui/src', 'console/src', 'ltai_lab/src'];
// Words a service says are looked up by `word(prefix, …)` or built from a noun.
const LOOKED_UP = ['phase.', 'kind.', 'tenant.', 'role.', 'image.', 'resource.'];
const ENTRY = /^\s*'([\w.]+)':\s*(?:'((?:[^'\\]|\\.)*)'|"((?:[^"\\]|\\.)*)")/gm;

export function readDictionary(path) {
  const entries = [...readFileSync(path, 'utf8').matchAll(ENTRY)].map(found => [found[1], found[2] ?? found[3]]);
  return new Map(entries);
}

export function check(root = HERE) {
  const locales = join(root, 'ui', 'src', 'locales');
  const english = readDictionary(join(locales, 'en.ts'));
  const chinese = readDictionary(join(locales, 'zh-CN.ts'));
  const files = SOURCES.flatMap(folder => sourcesBelow(join(root, folder))).filter(path => !path.startsWith(locales));
  const texts = files.map(path => [relative(root, path), withoutComments(readFileSync(path, 'utf8'))]);
  return [...compare(english, chinese), ...findUnused(english, texts), ...findMissing(english, texts), ...findUntranslated(texts)];
}

function sourcesBelow(folder) {
  return readdirSync(folder, { withFileTypes: true }).flatMap(entry =>
    entry.isDirectory() ? sourcesBelow(join(folder, entry.name)) : /\.tsx?$/.test(entry.name) ? [join(folder, entry.name)] : []
  );
}

const withoutComments = text => text.replace(/\/\*[\s\S]*?\*\//g, '').replace(/^\s*\/\/.*$/gm, '');

/** Same keys, same placeholders, nothing empty, Chinese that is Chinese. */
function compare(english, chinese) {
  const problems = [];
  const places = text => [...text.matchAll(/\{\w+\}/g)].map(found => found[0]).sort().join();
  for (const [key, text] of english) {
    const other = chinese.get(key);
    if (!text) problems.push(`en: '${key}' is empty`);
    if (other === undefined) problems.push(`zh-CN: '${key}' is missing`);
    else if (!other) problems.push(`zh-CN: '${key}' is empty`);
    else if (places(text) !== places(other)) problems.push(`zh-CN: '${key}' has other placeholders than English (${places(text)} / ${places(other)})`);
    else if (other === text && / /.test(text)) problems.push(`zh-CN: '${key}' is still English`);
  }
  for (const key of chinese.keys()) if (!english.has(key)) problems.push(`en: '${key}' is missing`);
  return problems;
}

function findUnused(english, texts) {
  const all = texts.map(([, text]) => text).join('\n');
  const isUsed = key => all.includes(`'${key}'`) || LOOKED_UP.some(prefix => key.startsWith(prefix) && /^[a-z]+$/.test(key.slice(prefix.length)));
  return [...english.keys()].filter(key => !isUsed(key)).map(key => `'${key}' is used nowhere`);
}

function findMissing(english, texts) {
  return texts.flatMap(([path, text]) =>
    [...text.matchAll(/\bt\('([\w.]+)'/g)].filter(found => !english.has(found[1])).map(found => `${path}: '${found[1]}' is in no dictionary`)
  );
}

/** Words between tags or in attributes people read. Names and units that are the same everywhere may stand. */
function findUntranslated(texts) {
  const allowed = /^(GPU|CPU|MLflow|LtAI|English|v|no)$/;
  const problems = [];
  for (const [path, text] of texts.filter(([name]) => name.endsWith('.tsx'))) {
    for (const found of text.matchAll(/[a-z"'}]>\s*([A-Za-z][A-Za-z ,.'’-]{1,})\s*[<{]/g)) {
      if (!allowed.test(found[1].trim())) problems.push(`${path}: "${found[1].trim()}" is not translated`);
    }
    for (const found of text.matchAll(/\b(?:title|label|placeholder|aria-label|hint|note|text)="([^"]*[A-Za-z]{2}[^"]*)"/g)) {
      if (!allowed.test(found[1]) && !/^[A-Z_]+=\d+$/.test(found[1])) problems.push(`${path}: "${found[1]}" is not translated`);
    }
    for (const found of text.matchAll(/[\u4e00-\u9fff]+/g)) problems.push(`${path}: "${found[0]}" belongs in the dictionaries`);
  }
  return problems;
}

if (process.argv[1] && import.meta.url === pathToFileURL(process.argv[1]).href) {
  const problems = check();
  for (const problem of problems) console.error(problem);
  console.log(problems.length ? `translations: ${problems.length} problems` : 'translations: complete');
  process.exit(problems.length ? 1 : 0);
}
