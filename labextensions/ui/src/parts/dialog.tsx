/** Modal dialogs on the platform's own <dialog>: focus stays inside, Esc closes. */
import { createContext, useCallback, useContext, useEffect, useRef, useState, type ReactNode } from 'react';

import { useWords } from '../i18n';

export function Dialog(props: { title: string; onClose: () => void; children: ReactNode; wide?: boolean }): JSX.Element {
  const ref = useRef<HTMLDialogElement>(null);
  const { t } = useWords();
  useEffect(() => {
    const dialog = ref.current;
    if (dialog && !dialog.open) dialog.showModal();
    return () => dialog?.close();
  }, []);
  return (
    <dialog
      ref={ref}
      className={`lt lt-dialog ${props.wide ? 'lt-dialog-wide' : ''}`}
      aria-label={props.title}
      onCancel={event => {
        event.preventDefault();
        props.onClose();
      }}
      onKeyDown={event => event.stopPropagation()}
    >
      <header className="lt-dialog-head">
        <h2>{props.title}</h2>
        <button type="button" className="lt-icon-button" aria-label={t('action.close')} onClick={props.onClose}>
          ×
        </button>
      </header>
      {props.children}
    </dialog>
  );
}

export interface Question {
  title: string;
  /** What happens and what is lost. */
  text: string;
  /** The verb on the button. */
  verb: string;
  danger?: boolean;
}

type Confirm = (question: Question) => Promise<boolean>;

const ConfirmContext = createContext<Confirm>(() => Promise.resolve(false));
export const useConfirm = (): Confirm => useContext(ConfirmContext);

export function ConfirmProvider({ children }: { children: ReactNode }): JSX.Element {
  const [asked, setAsked] = useState<{ question: Question; answer: (yes: boolean) => void } | null>(null);
  const { t } = useWords();
  const confirm = useCallback<Confirm>(question => new Promise(answer => setAsked({ question, answer })), []);
  const close = (yes: boolean): void => {
    asked?.answer(yes);
    setAsked(null);
  };
  return (
    <ConfirmContext.Provider value={confirm}>
      {children}
      {asked && (
        <Dialog title={asked.question.title} onClose={() => close(false)}>
          <p className="lt-dialog-text">{asked.question.text}</p>
          <footer className="lt-dialog-foot">
            <button type="button" className="lt-button" autoFocus onClick={() => close(false)}>
              {t('action.back')}
            </button>
            <button type="button" className={`lt-button ${asked.question.danger ? 'lt-danger' : 'lt-primary'}`} onClick={() => close(true)}>
              {asked.question.verb}
            </button>
          </footer>
        </Dialog>
      )}
    </ConfirmContext.Provider>
  );
}
