/** A log that grows: kept text first, then live; stays at the end until one scrolls up. */
import { useEffect, useRef, useState } from 'react';

import type { Params } from '../client';
import { useClient } from '../context';
import { useWords } from '../i18n';
import { Button } from './buttons';
import { ErrorBox } from './states';

const LONGEST = 2_000_000;
// Colours and cursor moves of terminals; a progress bar's carriage returns keep only the last state of a line.
const ESCAPES = /\u001b\[[0-9;?]*[A-Za-z]/g;

export function LogView(props: { service: string; path: string; params?: Params; live: boolean; fileName: string }): JSX.Element {
  const client = useClient();
  const { t } = useWords();
  const [text, setText] = useState('');
  const [error, setError] = useState<unknown>(null);
  const [round, setRound] = useState(0);
  const [find, setFind] = useState('');
  const box = useRef<HTMLPreElement>(null);
  const atEnd = useRef(true);
  const key = JSON.stringify(props.params ?? {});

  useEffect(() => {
    const stop = new AbortController();
    let offset = 0;
    setText('');
    setError(null);
    const add = (piece: string, size: number): void => {
      offset += size;
      setText(old => (old + piece).slice(-LONGEST));
    };
    const read = async (): Promise<void> => {
      while (!stop.signal.aborted) {
        await client.follow(props.service, props.path, { ...props.params, offset, follow: props.live }, add, stop.signal);
        if (!props.live) return;
        await new Promise(done => setTimeout(done, 1000));
      }
    };
    read().catch((problem: unknown) => !stop.signal.aborted && setError(problem));
    return () => stop.abort();
  }, [props.service, props.path, key, props.live, round]);

  useEffect(() => {
    if (atEnd.current && box.current) box.current.scrollTop = box.current.scrollHeight;
  }, [text]);

  const onScroll = (): void => {
    const { scrollTop, scrollHeight, clientHeight } = box.current as HTMLPreElement;
    atEnd.current = scrollHeight - scrollTop - clientHeight < 40;
  };
  const lines = plain(text);
  const shown = find ? lines.split('\n').filter(line => line.toLowerCase().includes(find.toLowerCase())).join('\n') : lines;
  return (
    <div className="lt-log-frame">
      <div className="lt-toolbar">
        <input type="search" className="lt-input lt-search" placeholder={t('log.find')} aria-label={t('log.find')} value={find} onChange={event => setFind(event.target.value)} />
        <span className="lt-spring" />
        {props.live && (
          <span className="lt-hint">
            <span className="lt-dot lt-dot-green lt-dot-moving" aria-hidden="true" /> {t('log.live')}
          </span>
        )}
        <Button small onClick={() => save(text, props.fileName)}>
          {t('action.download')}
        </Button>
      </div>
      {error ? <ErrorBox error={error} onRetry={() => setRound(round + 1)} /> : null}
      <pre ref={box} className="lt-log" tabIndex={0} role="log" aria-label={t('log.title')} onScroll={onScroll}>
        {shown || <span className="lt-hint">{find ? t('log.noMatch') : props.live ? t('log.waiting') : t('log.empty')}</span>}
      </pre>
    </div>
  );
}

function plain(text: string): string {
  return text
    .replace(ESCAPES, '')
    .replace(/\r\n/g, '\n')
    .split('\n')
    .map(line => line.slice(line.lastIndexOf('\r', line.length - 2) + 1).replace(/\r$/, ''))
    .join('\n');
}

export function save(content: string | Blob, fileName: string): void {
  const link = document.createElement('a');
  link.href = URL.createObjectURL(typeof content === 'string' ? new Blob([content], { type: 'text/plain' }) : content);
  link.download = fileName;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}
