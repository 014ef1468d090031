/** Empty, loading and failed: the three states every panel has besides its own. */
import type { UseQueryResult } from '@tanstack/react-query';
import { useEffect, useState, type ReactNode } from 'react';

import { ApiError } from '../client';
import { useWords } from '../i18n';
import { CopyButton } from './buttons';
import { useSentence } from './toast';

export function useLate(milliseconds: number): boolean {
  const [late, setLate] = useState(false);
  useEffect(() => {
    const timer = setTimeout(() => setLate(true), milliseconds);
    return () => clearTimeout(timer);
  }, [milliseconds]);
  return late;
}

/** Grey rows, after 200 ms: a quick answer never flickers. */
export function Skeleton({ rows = 5 }: { rows?: number }): JSX.Element {
  const late = useLate(200);
  const { t } = useWords();
  return (
    <div className="lt-skeleton" role="status" aria-label={t('state.loading')} style={{ visibility: late ? 'visible' : 'hidden' }}>
      {Array.from({ length: rows }, (_, index) => (
        <div key={index} className="lt-skeleton-row" style={{ width: `${92 - ((index * 17) % 40)}%` }} />
      ))}
    </div>
  );
}

export function ErrorBox({ error, onRetry }: { error: unknown; onRetry?: () => void }): JSX.Element {
  const { t } = useWords();
  const sentence = useSentence()(error);
  const api = error instanceof ApiError ? error : null;
  return (
    <div className="lt-error" role="alert">
      <p className="lt-error-text">
        <span className="lt-dot lt-dot-red" aria-hidden="true" /> {sentence}
      </p>
      <p className="lt-hint">{api ? adviceFor(api, t) : t('error.adviceReload')}</p>
      <div className="lt-row">
        {onRetry && (
          <button type="button" className="lt-button" onClick={onRetry}>
            {t('action.retry')}
          </button>
        )}
        {api?.requestId && (
          <span className="lt-hint">
            {t('error.requestId')} <code>{api.requestId}</code> <CopyButton text={api.requestId} />
          </span>
        )}
      </div>
    </div>
  );
}

function adviceFor(error: ApiError, t: ReturnType<typeof useWords>['t']): string {
  if (error.code === 'no-hub') return t('error.adviceNoHub');
  if (error.status === 401) return t('error.adviceLogin');
  if (error.status === 403) return t('error.adviceDenied');
  if (error.status === 404) return t('error.adviceGone');
  if (error.code === 'over-quota') return t('error.adviceQuota');
  if (error.status === 0 || error.status >= 500) return t('error.adviceServer');
  return t('error.adviceInput');
}

export function Empty(props: { text: string; children?: ReactNode; help?: string }): JSX.Element {
  const { t } = useWords();
  return (
    <div className="lt-empty">
      <p>{props.text}</p>
      <div className="lt-row">
        {props.children}
        {props.help && (
          <a className="lt-link" href={props.help} target="_blank" rel="noreferrer">
            {t('action.howTo')}
          </a>
        )}
      </div>
    </div>
  );
}

/** Shows the data of a query, or why there is none. Old data stays with a note while the service does not answer. */
export function Loaded<T>(props: { query: UseQueryResult<T, Error>; rows?: number; children: (data: T) => ReactNode }): JSX.Element {
  const { query } = props;
  const { t } = useWords();
  if (query.data === undefined) {
    if (query.error) return <ErrorBox error={query.error} onRetry={() => void query.refetch()} />;
    return <Skeleton rows={props.rows} />;
  }
  return (
    <>
      {query.error && (
        <div className="lt-stale" role="status">
          <span className="lt-dot lt-dot-amber" aria-hidden="true" /> {t('state.stale')}
          <button type="button" className="lt-button lt-small" onClick={() => void query.refetch()}>
            {t('action.retry')}
          </button>
        </div>
      )}
      {props.children(query.data)}
    </>
  );
}
