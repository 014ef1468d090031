/** Notices that something ended; read aloud by screen readers, gone by themselves. */
import { createContext, useCallback, useContext, useRef, useState, type ReactNode } from 'react';

import { ApiError } from '../client';
import { useWords } from '../i18n';

interface Notice {
  id: number;
  text: string;
  kind: 'good' | 'bad';
}

type Notify = (text: string, kind?: Notice['kind']) => void;

const NotifyContext = createContext<Notify>(() => undefined);
export const useNotify = (): Notify => useContext(NotifyContext);

export function ToastProvider({ children }: { children: ReactNode }): JSX.Element {
  const [notices, setNotices] = useState<Notice[]>([]);
  const next = useRef(0);
  const { t } = useWords();
  const drop = (id: number): void => setNotices(list => list.filter(notice => notice.id !== id));
  const notify = useCallback<Notify>((text, kind = 'good') => {
    const id = next.current++;
    setNotices(list => [...list.slice(-3), { id, text, kind }]);
    setTimeout(() => drop(id), kind === 'bad' ? 12_000 : 5_000);
  }, []);
  return (
    <NotifyContext.Provider value={notify}>
      {children}
      <div className="lt-toasts" role="status" aria-live="polite">
        {notices.map(notice => (
          <div key={notice.id} className={`lt-toast lt-toast-${notice.kind}`}>
            <span>{notice.text}</span>
            <button type="button" className="lt-icon-button" aria-label={t('action.close')} onClick={() => drop(notice.id)}>
              ×
            </button>
          </div>
        ))}
      </div>
    </NotifyContext.Provider>
  );
}

/** The sentence of an error: the server's own, else ours. */
export function useSentence(): (error: unknown) => string {
  const { t } = useWords();
  return error => {
    if (error instanceof ApiError) {
      if (error.message) return error.message;
      return error.code === 'no-answer' ? t('error.noAnswer') : t('error.status', { status: error.status });
    }
    return error instanceof Error ? error.message : String(error);
  };
}
