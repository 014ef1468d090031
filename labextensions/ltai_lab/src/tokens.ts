import { Token } from '@lumino/coreutils';
import type { Client, Key, Words } from '@ltai/ui';

import type { Info } from './connection';

/** What the plugins of this extension share. */
export interface ILtai {
  client: Client;
  /** Who and where; rejects when the server half does not answer. */
  info: Promise<Info>;
  words(): Words;
  /** A label that is looked up when it is shown, so that it follows the language setting. */
  label(key: Key): () => string;
  open(path: string): void;
}

export const ILtai = new Token<ILtai>('@ltai/lab:ILtai', 'Services and pages of LtAI.');

export const CommandIDs = {
  open: 'ltai:open',
  console: 'ltai:console',
  environments: 'ltai:environments',
  newJob: 'ltai:new-job',
  registerModel: 'ltai:register-model',
  publish: 'ltai:publish',
  usage: 'ltai:usage',
  monitor: 'ltai:monitor',
  runAsJob: 'ltai:run-as-job'
} as const;
