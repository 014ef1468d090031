/** Words in the reader's language. Every string people see is in both dictionaries; `check-i18n.mjs` keeps it so. */
import { createContext, useContext } from 'react';

import { en } from './locales/en';
import { zhCN } from './locales/zh-CN';
import type { Text } from './types';

export type Key = keyof typeof en;
export type Language = 'en' | 'zh-CN';

const DICTIONARIES: Record<Language, Record<Key, string>> = { en, 'zh-CN': zhCN };

export interface Words {
  language: Language;
  /** The text of a key with its {placeholders} filled. */
  t(key: Key, values?: Record<string, string | number>): string;
  /** The text of `prefix + word`, or the word itself when a service says one we do not know. */
  word(prefix: 'phase.' | 'kind.' | 'tenant.' | 'role.' | 'image.' | 'resource.', word: string): string;
  /** A title of the catalogue, which carries its own translations. */
  title(text: Text | null | undefined, otherwise?: string): string;
}

/** "zh_CN", "zh-Hans", "zh" → 简体中文; everything else is English. */
export function languageOf(code: string | null | undefined): Language {
  return code?.toLowerCase().startsWith('zh') ? 'zh-CN' : 'en';
}

export function makeWords(language: Language): Words {
  const dictionary = DICTIONARIES[language];
  const t = (key: Key, values: Record<string, string | number> = {}): string =>
    dictionary[key].replace(/\{(\w+)\}/g, (whole, name: string) => String(values[name] ?? whole));
  return {
    language,
    t,
    word: (prefix, word) => dictionary[`${prefix}${word}` as Key] ?? word,
    title: (text, otherwise = '') => (typeof text === 'string' ? text : text?.[language] || text?.en) || otherwise
  };
}

export const WordsContext = createContext<Words>(makeWords('en'));
export const useWords = (): Words => useContext(WordsContext);
