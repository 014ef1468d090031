/** One question, one change for each chosen row, one notice. */
import type { Client } from '../client';
import { useChange } from '../context';
import { useWords } from '../i18n';
import type { Action } from './buttons';
import { useConfirm } from './dialog';
import { useNotify, useSentence } from './toast';

export interface BulkChange<T> {
  label: string;
  /** What happens and what is lost. */
  text: string;
  rows: T[];
  nameOf: (row: T) => string;
  run: (client: Client, row: T) => Promise<unknown>;
  danger?: boolean;
}

const NAMED = 5;

export function useBulk<T>(...services: string[]): (change: BulkChange<T>) => Action {
  const { t } = useWords();
  const confirm = useConfirm();
  const notify = useNotify();
  const sentence = useSentence();
  const all = useChange((client, change: BulkChange<T>) => Promise.allSettled(change.rows.map(row => change.run(client, row))), ...services);
  return change => ({
    label: `${change.label} (${change.rows.length})`,
    danger: change.danger,
    disabled: !change.rows.length || all.isPending,
    run: () => {
      const names = change.rows.slice(0, NAMED).map(change.nameOf).join(', ') + (change.rows.length > NAMED ? ' …' : '');
      void confirm({ title: t('bulk.title', { verb: change.label, count: change.rows.length }), text: `${names}. ${change.text}`, verb: change.label, danger: change.danger }).then(
        yes =>
          yes &&
          all.mutate(change, {
            onSuccess: results => {
              const failed = results.filter(result => result.status === 'rejected');
              if (failed.length) notify(t('bulk.failed', { count: failed.length, sentence: sentence(failed[0].reason) }), 'bad');
              else notify(t('bulk.done', { verb: change.label, count: results.length }));
            }
          })
      );
    }
  });
}
